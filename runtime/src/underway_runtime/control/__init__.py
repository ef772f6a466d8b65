"""The control socket: how commands talk to a node that runs.

===================  =================================================================================================
``frames``           the unit in which both ends talk, and its limits
``handshake``        each end proves that it has the cookie, which never travels
``client``           the commands' end: connects, asks; imports little, for rpc is to take no longer than Python does
``server``           the node's end: a thread with a loop of its own, the clients, their limits and deadlines
``conversations``    what a client may ask for, once it is known
``__main__``         the commands that ask a node; the launcher runs it by path and without ``site``
===================  =================================================================================================
"""
