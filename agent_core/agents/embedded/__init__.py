"""The model that is there at once: no key, and once fetched no network.

SmolLM2-135M-Instruct runs in the core's own process. It is there so that everything runs at once,
not for its answers: short facts are often right, explanations are fluent and often false, and it
calls no tools.
"""

from agent_core.agents.embedded.engine import Engine
from agent_core.agents.embedded.errors import ModelUnavailableError
from agent_core.agents.embedded.settings import ModelSettings
from agent_core.agents.embedded.weights import SMOLLM2, Weights, ensure_weights

__all__ = ["SMOLLM2", "Engine", "ModelSettings", "ModelUnavailableError", "Weights", "ensure_weights"]
