"""The embedded pieces by themselves, for whoever wants the music and not its files.

Their texts lie in the folder of the same name beside this module; ``score.py`` says how to read them.
"""

from emoray.demo.files import pieces as demo_pieces
from emoray.demo.score import Piece

__all__ = ["Piece", "demo_pieces"]
