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
    Edit(
        "route added",
        ((URLS, '    path("about/"', '    path("info/", views.about),\n    path("about/"'),),
        (("GET", "/info/", None),),
    ),
    Edit("setting", ((SETTINGS, "POSTS_ON_A_PAGE = 3", "POSTS_ON_A_PAGE = 1"),)),
    Edit("setting that is text", ((SETTINGS, 'SITE_NAME = "The blog"', 'SITE_NAME = "Our blog"'),)),
)
