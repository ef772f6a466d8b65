"""The control socket: how commands talk to a node that runs.

===================  =================================================================================================
``frames``           the unit in which both ends talk, and its limits
``handshake``        each end proves that it has the cookie, which never travels
``client``           the commands' end: connects, asks; imports little, for rpc is to take no longer than Python does
``server``           the node's end: a thread with a loop of its own, the clients, their limits and deadlines
``requests``         what a client may ask for, with its schema and who may send it
``client_session``   one client of the node, once it is known
===================  =================================================================================================
"""
