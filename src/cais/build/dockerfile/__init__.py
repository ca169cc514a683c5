"""The Dockerfile language, and nothing of building.

    lexer         text to statements: directives, continuations, comments, heredocs; every byte is kept
    words         flags, words and quotes, JSON arrays
    instructions  what each instruction says, as values
    flags         the flags of each instruction
    duration      times as Go writes them
    statements    one statement to one instruction
    parser        a file to its stages; ``format`` gives the very bytes back
    expand        ``$name`` and ``${name...}``, and which names were used
    errors        what is wrong, on which line, and the marked lines

It follows Docker's reference (docs.docker.com/reference/dockerfile) as BuildKit reads it, labs included: whatever is
part of the language is parsed; what is not built yet is refused by the lowering, by name. Pure: no I/O. Who may enter:
anyone.
"""
