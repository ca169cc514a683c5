"""The language of bake files: HashiCorp's HCL, its native syntax and its JSON form, read and evaluated.

``parser`` and ``json_body`` make a ``syntax.Body`` of a text, ``evaluate`` gives the values of its expressions,
``functions`` are those that bake files may call. Values are None, bool, int, float, str, list and dict. Pure: what the
environment says is handed in by who asks. Written here because the one library for it in Python gives expressions back
as text, and takes seconds to start.
"""
