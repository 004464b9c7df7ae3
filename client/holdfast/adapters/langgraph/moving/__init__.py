"""Move threads between a saver of LangGraph and Holdfast, in both directions.

`stored` is a checkpoint as both sides have it, `savers` and `holdfast` are the two sides, `threads` moves a thread from
one side to the other. `opening` opens the saver that a URL or a module names.
"""
