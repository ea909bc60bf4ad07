"""The registry of the stories, by name.

A story is written in the module whose dictionary has its name: stories_ordinary, _withdrawn, _mirakl or _oms.
"""

from typing import Final

from adapters.simulators.stories_mirakl import MIRAKL
from adapters.simulators.stories_oms import OMS
from adapters.simulators.stories_ordinary import ORDINARY
from adapters.simulators.stories_withdrawn import WITHDRAWN
from adapters.simulators.story import Story

STORIES: Final[dict[str, Story]] = ORDINARY | WITHDRAWN | MIRAKL | OMS
