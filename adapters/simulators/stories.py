"""The registry of the stories, by name."""

from typing import Final

from adapters.simulators.stories_mirakl import MIRAKL
from adapters.simulators.stories_oms import OMS
from adapters.simulators.stories_ordinary import ORDINARY
from adapters.simulators.stories_withdrawn import WITHDRAWN
from adapters.simulators.story import Story

STORIES: Final[dict[str, Story]] = ORDINARY | WITHDRAWN | MIRAKL | OMS
#: The stories of the demo's default run.
DEFAULT_RUN: Final = {name: story for name, story in STORIES.items() if not story.waits_for}
