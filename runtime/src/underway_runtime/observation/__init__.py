"""What a module is after its import, looked at: the graph of what can be reached from it, and how two such graphs differ.

==============  =======================================================================================================
``objects``     looks at what belongs to others without running their code
``node``        what a picture is made of: nodes, labels of edges, paths
``opaque``      a rule for each type that has state in C
``layout``      how instances of a type are looked at
``look``        looks at one object: what it is, and what it holds
``picture``     takes a picture: `picture.take` walks from the modules of this process
``compare``     walks two pictures in step: `compare.compare` says each difference with its path
``align``       which elements of two rows are the same
``canonical``   one numbering of a picture
``noise``       what differs between two imports of one version, taken out
``columns``     the same in the columns of files, where only values differ
``encoded``     pictures in files
``trace``       which functions ran, and which globals they may read
``outside``     what import does outside of the heap
``living``      what a process that serves looks like, written by itself
``importing``   the child that imports
``namespaces``  what the kernel can take away from it
``sandbox``     imports twice where that can do no harm, and says what is the same
==============  =======================================================================================================

Nothing here knows of releases, plans and nodes.
"""
