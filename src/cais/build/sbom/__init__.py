"""The software bill of materials: which packages are in a file system, as an SPDX document.

    package   a package and its purl
    reading   files of a tree that nobody vouches for: sizes, kinds and texts within limits
    system    Debian's and Alpine's databases
    python    what pip, setuptools and the like have installed
    node      node_modules, and lock files
    scan      all of them over one tree
    spdx      the document

A scan only reads, never follows a link out of the tree, and what is malformed is no package. The engine enters through
``scan.scan`` and ``spdx.document``.
"""
