"""The owner's tool: tell by its answers whether a suspect was made from a model of one's own.

What strangers made (files, tables, services) is read within bounds and never run; bad input is
refused everywhere by :class:`sacutils.files.UserError`, one sentence that says what is accepted.
"""
