"""A server that misbehaves as a case says, and otherwise answers as a server of Holdfast would."""
