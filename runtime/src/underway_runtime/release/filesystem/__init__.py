"""Files and directories, as a release and a stranger have them: opened, written, owned, laid side by side."""
