"""The commands' end of the control socket."""
