"""The build checks: BuildKit's rules, under their names, with their messages.

    report     what is found is gathered here, and what ``# check=`` says decides what of it counts
    text       rules that look at the text of the whole file, and at its FROM lines
    steps      rules that look at one instruction, while its stage is lowered
    rules      the table: a rule's name, what it is about, its page, whether it is experimental

What ``text`` finds, it finds in every stage. What depends on a stage's environment or base is found in the stages that
are lowered: those that the target needs, and for ``build --check`` without ``--target`` all of them.

A build enters through ``report`` and ``text``; ``rules`` is read when a rule is explained.
"""
