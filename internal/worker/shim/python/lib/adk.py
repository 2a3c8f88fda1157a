"""The Algorithm Development Kit under the name of its package."""

from runnel_adk import ADK

__all__ = ["ADK"]
