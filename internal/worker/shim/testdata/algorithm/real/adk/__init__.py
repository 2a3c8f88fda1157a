from .ADK import ADK
