"""The language of bake files: HashiCorp's HCL, its native syntax and its JSON form, read and evaluated.

    parser, expressions, templates
                 the native syntax: bodies, expressions, strings
    json_body    the JSON form
    syntax       what both make of a text
    evaluate     the values of expressions
    values, types
                 what values are called, and what they become
    functions    those that bake files may call; function_*: by what they are about

Values are None, bool, int, float, str, list and dict. Pure: what the environment says is handed in by who asks. Written
here because the one library for it in Python gives expressions back as text, and takes seconds to start.
"""
