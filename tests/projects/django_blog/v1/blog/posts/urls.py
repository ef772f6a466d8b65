"""What is answered where."""

from django.urls import path

from . import views

app_name = "posts"
urlpatterns = [
    path("", views.Posts.as_view(), name="all"),
    path("<int:number>/", views.post, name="post"),
    path("<int:number>/like/", views.like, name="like"),
]
