"""Edits of a blog, by Django."""

from __future__ import annotations

from service_edits import Edit, Service

SERVICE = Service(
    "django_blog",
    {"wsgi": "blog.wsgi:application", "listen": ["tcp://127.0.0.1:0"]},
    ("django", "waitress"),
    before=(
        (
            "rpc",
            (
                "import asyncio; "
                "from django.core.management import call_command; "
                "await asyncio.to_thread(call_command, 'migrate', verbosity=0)"
            ),
            None,
        ),
        ("POST", "/posts/?title=Hello&text=Good+morning+to+all", None),
        ("POST", "/posts/?title=%20Again%20&text=Good+evening", None),
        ("POST", "/posts/1/like/", None),
    ),
    requests=(
        ("GET", "/", None),
        ("GET", "/about/", None),
        ("GET", "/posts/", None),
        ("GET", "/posts/1/", None),
        ("GET", "/posts/9/", None),
        ("POST", "/posts/?title=much+longer+than+anything+that+is+allowed", None),
    ),
    kept=(
        "import asyncio; from blog.posts.signals import saved; from blog.posts.models import Post; "
        "posts = await asyncio.to_thread(lambda: list(Post.objects.order_by('id').values_list('id', 'title', 'likes'))); "
        "print(id(saved), saved, posts)"
    ),
)

VIEWS, URLS, SETTINGS, MIDDLEWARE, CONTEXT = (
    f"blog/{name}.py" for name in ("views", "urls", "settings", "middleware", "context")
)
MODELS, POSTS, POST_URLS, FORMS, SIGNALS = (
    f"blog/posts/{name}.py" for name in ("models", "views", "urls", "forms", "signals")
)
TAGS = "blog/posts/templatetags/shown.py"

EDITS = (
    Edit("view body", ((POSTS, '"likes": found.likes})\n\n\n@csrf', '"likes": found.likes, "by": "us"})\n\n\n@csrf'),)),
    Edit("body of a class's method", ((POSTS, '"saved": len(signals.saved)', '"count": len(signals.saved)'),)),
    Edit(
        "view gets a default",
        (
            (
                POSTS,
                "def post(request: HttpRequest, number: int)",
                "def post(request: HttpRequest, number: int, loud: bool = True)",
            ),
            (POSTS, '"title": found.title, "summary"', '"title": found.title.upper() if loud else "", "summary"'),
        ),
        down="RESTART",
    ),
    Edit(
        "route added",
        ((URLS, '    path("about/"', '    path("info/", views.about),\n    path("about/"'),),
        (("GET", "/info/", None),),
    ),
    Edit(
        "route added to an application",
        (
            (POST_URLS, '    path("<int:number>/", ', '    path("count/", views.count),\n    path("<int:number>/", '),
            (
                POSTS,
                "@csrf_exempt\n@require_POST",
                (
                    "def count(request: HttpRequest) -> HttpResponse:\n"
                    "    return JsonResponse({'count': Post.objects.count()})\n"
                    "\n"
                    "\n"
                    "@csrf_exempt\n"
                    "@require_POST"
                ),
            ),
        ),
        (("GET", "/posts/count/", None),),
    ),
    Edit("route removed", ((URLS, '    path("about/", views.about, name="about"),\n', ""),)),
    Edit("route renamed", ((URLS, 'path("about/"', 'path("info/"'),), (("GET", "/info/", None),)),
    Edit("method of a model", ((MODELS, "self.text[:10]", "self.text[:5]"),)),
    Edit(
        "method of a model added",
        (
            (
                MODELS,
                "    def summary",
                ("    def loud(self) -> str:\n        return self.text.upper()\n\n    def summary"),
            ),
            (POSTS, '"summary": found.summary()', '"summary": found.loud()'),
        ),
    ),
    Edit("order of a model", ((MODELS, 'ordering = ["id"]', 'ordering = ["-id"]'),), up="RESTART", down="RESTART"),
    Edit("setting", ((SETTINGS, "POSTS_ON_A_PAGE = 3", "POSTS_ON_A_PAGE = 1"),)),
    Edit("setting that is text", ((SETTINGS, 'SITE_NAME = "The blog"', 'SITE_NAME = "Our blog"'),)),
    Edit(
        "setting added",
        (
            (SETTINGS, 'SITE_NAME = "The blog"', 'SITE_NAME = "The blog"\nMOTTO = "read"'),
            ("blog/views.py", '"name": settings.SITE_NAME', '"name": settings.MOTTO'),
        ),
    ),
    Edit("constant", ((MIDDLEWARE, 'BY = "blog"', 'BY = "the blog"'),)),
    Edit("template", (("blog/templates/home.html", "<p>", "<p>* "),)),
    Edit("template that others extend", (("blog/templates/base.html", "<title>", "<title>* "),)),
    Edit(
        "template added",
        (
            ("blog/templates/about.html", "", "<p>{{ version }}, {{ site }}</p>\n"),
            (
                "blog/views.py",
                'JsonResponse({"version": __version__, "name": settings.SITE_NAME})',
                'render(request, "about.html", {"version": __version__})',
            ),
        ),
    ),
    Edit("body of a filter", ((TAGS, "return text.upper()", "return text.title()"),)),
    Edit(
        "filter added",
        (
            (
                TAGS,
                "@register.filter\n",
                ("@register.filter\ndef soft(text: str) -> str:\n    return text.lower()\n\n\n@register.filter\n"),
            ),
            ("blog/templates/home.html", "|loud", "|soft"),
        ),
    ),
    Edit(
        "middleware added",
        (
            (
                MIDDLEWARE,
                "class Stamped:",
                (
                    "class Ping:\n"
                    "    def __init__(self, get_response):\n"
                    "        self.get_response = get_response\n"
                    "\n"
                    "    def __call__(self, request):\n"
                    "        return HttpResponse('pong') if request.path == '/ping/' else self.get_response(request)\n"
                    "\n"
                    "\n"
                    "class Stamped:"
                ),
            ),
            (
                SETTINGS,
                '    "blog.middleware.Stamped",\n',
                ('    "blog.middleware.Stamped",\n    "blog.middleware.Ping",\n'),
            ),
        ),
        (("GET", "/ping/", None),),
        up="RESTART",
        down="RESTART",
    ),
    Edit("body of a middleware", ((MIDDLEWARE, 'response["X-By"] = BY', 'response["X-By"] = BY.upper()'),)),
    Edit(
        "body of a context processor",
        ((CONTEXT, '{"site": settings.SITE_NAME}', '{"site": settings.SITE_NAME.upper()}'),),
    ),
    Edit(
        "body of a form's method",
        (
            (
                FORMS,
                '        return str(self.cleaned_data["text"])\n',
                (
                    '        if not self.cleaned_data["text"]:\n'
                    '            raise forms.ValidationError("there is no text")\n'
                    '        return str(self.cleaned_data["text"])\n'
                ),
            ),
        ),
    ),
    Edit("field of a form", ((FORMS, "max_length=20", "max_length=30"),)),
    Edit(
        "field of a form added",
        (
            (
                FORMS,
                "    text = forms.CharField(required=False)\n",
                (
                    "    text = forms.CharField(required=False)\n"
                    '    note = forms.CharField(max_length=3, required=False, widget=forms.Textarea(attrs={"rows": 3}))\n'
                ),
            ),
            (
                POSTS,
                "Post.objects.create(**form.cleaned_data)",
                'Post.objects.create(title=form.cleaned_data["title"], text=form.cleaned_data["text"])',
            ),
        ),
        (("POST", "/posts/?title=much+longer+than+anything+that+is+allowed&note=long", None),),
    ),
    Edit(
        "form added",
        (
            (
                FORMS,
                "class PostForm(",
                (
                    "class NoteForm(forms.Form):\n"
                    '    """A short one."""\n'
                    "\n"
                    "    text = forms.CharField(max_length=9)\n"
                    "\n"
                    "\n"
                    "class PostForm("
                ),
            ),
            (POSTS, "import PostForm", "import NoteForm, PostForm"),
            (
                POSTS,
                '"likes": found.likes})\n\n\n@csrf',
                '"short": NoteForm({"text": found.text}).is_valid()})\n\n\n@csrf',
            ),
        ),
    ),
    Edit(
        "log line",
        ((POSTS, "    found.likes += 1\n", ('    logger.info("liked %d", number)\n    found.likes += 1\n')),),
    ),
    Edit(
        "logger",
        (
            (
                ("blog/views.py"),
                "from django.conf import settings\n",
                "import logging\n\nfrom django.conf import settings\n",
            ),
            ("blog/views.py", "def home(", "log = logging.getLogger(__name__)\n\n\ndef home("),
            ("blog/views.py", '"version": __version__,', '"v": __version__,'),
        ),
    ),
    Edit(
        "new module",
        (
            (
                "blog/feeds.py",
                "",
                (
                    "from django.http import HttpRequest, HttpResponse\n"
                    "\n"
                    "from .posts.models import Post\n"
                    "\n"
                    "\n"
                    "def feed(request: HttpRequest) -> HttpResponse:\n"
                    "    return HttpResponse(', '.join(map(str, Post.objects.all())))\n"
                ),
            ),
            (URLS, "from . import views\n", "from . import feeds, views\n"),
            (URLS, '    path("about/"', '    path("feed/", feeds.feed),\n    path("about/"'),
        ),
        (("GET", "/feed/", None),),
    ),
    Edit(
        "new dependency",
        (
            (POSTS, "from . import signals\n", "from extra_words import plural\n\nfrom . import signals\n"),
            (POSTS, '"title": found.title, "summary"', '"title": plural(found.title), "summary"'),
        ),
        library={"extra_words/__init__.py": "def plural(word: str) -> str:\n    return f'{word}s'\n"},
    ),
    Edit("version", (("blog/__init__.py", "3.0", "3.1"),)),
    Edit(
        "field of a model",
        ((MODELS, "likes = models", 'by = models.CharField(max_length=9, default="")\n    likes = models'),),
        up="RESTART",
        down="RESTART",
    ),
)
