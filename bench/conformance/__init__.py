"""Upgrades of code that no one here wrote, judged by its own tests.

How the pairs of ``pairs.json`` are chosen, written down before any was tried::

    packages   those of packages.toml: widely used, pure Python, none that pytest itself needs
    releases   final, not yanked, uploaded before the date, for the interpreter's version; with a wheel for any platform, and
               a source distribution that carries tests
    pairs      the latest releases in the order of their versions: each with the one before it, as many as are asked for

``python bench/conformance/table.py`` writes that file from the index. Nothing is left out since by what came of it.

A pair is laid out as two versions of one release, with the same libraries: those that the newer one and its tests need, as of the day
after it was uploaded. Each process below is one of its own, without a network, bound in time and memory. Before the
tests of the newer version run in it, it imports every module of its version and makes an instance of each class that needs no argument:

============  ==============================================================================
fresh         a process of the newer version; asked again where a test differs, to know that it is steady
upgraded      a process of the older version that becomes the newer one, where the plan allows it
old           a process of the older version: tests that fail there tell the versions apart
traced        a process of the newer version, where no test does: whether the tests call a definition that has changed
============  ==============================================================================

What passes in each fresh process has to pass in the upgraded one, and what instances are made of has to be the same. A pair whose
tests neither tell the versions apart nor call what has changed does not count.
"""
