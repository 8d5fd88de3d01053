"""A simulated world for trying, testing and teaching: files of every kind and form, and the right answers beside them.

It knows the rules of billing and nothing of the warehouse: the answers are worked out from how the world was made.
"""

from loaders.simulate.world import write_world

__all__ = ["write_world"]
