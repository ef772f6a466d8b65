"""What is taken of who writes a post."""

from django import forms


class PostForm(forms.Form):
    """A new one."""

    title = forms.CharField(max_length=20)
    text = forms.CharField(required=False)

    def clean_title(self) -> str:
        """Without spaces around it."""
        return str(self.cleaned_data["title"]).strip()

    def clean_text(self) -> str:
        """As it is."""
        return str(self.cleaned_data["text"])
