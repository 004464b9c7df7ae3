"""Whether a workflow can be resumed, in words, and the commands and code that do it."""

from holdfast_server.console.resuming.commands import Recipe, recipes
from holdfast_server.console.resuming.outlook import Outcome, Outlook, outlook_of
from holdfast_server.console.resuming.words import Words, words_of

__all__ = ["Outcome", "Outlook", "Recipe", "Words", "outlook_of", "recipes", "words_of"]
