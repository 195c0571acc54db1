"""Every setting, as frozen pydantic models that refuse unknown keys; variants are told apart by ``kind``.

One file a section, which lists its public names itself. ``load_experiment`` reads an experiment file.
"""

from cotdistill.config import (
    adapter,
    annotation,
    base,
    checking,
    comparison,
    dotted,
    engine,
    evaluation,
    experiment,
    grid,
    loss,
    model,
    on_policy,
    parts,
    perturbation,
    prompt,
    selection,
    signal,
    task,
    training,
    validation,
)
from cotdistill.config.adapter import *
from cotdistill.config.annotation import *
from cotdistill.config.base import *
from cotdistill.config.checking import *
from cotdistill.config.comparison import *
from cotdistill.config.dotted import *
from cotdistill.config.engine import *
from cotdistill.config.evaluation import *
from cotdistill.config.experiment import *
from cotdistill.config.grid import *
from cotdistill.config.loss import *
from cotdistill.config.model import *
from cotdistill.config.on_policy import *
from cotdistill.config.parts import *
from cotdistill.config.perturbation import *
from cotdistill.config.prompt import *
from cotdistill.config.selection import *
from cotdistill.config.signal import *
from cotdistill.config.task import *
from cotdistill.config.training import *
from cotdistill.config.validation import *

__all__: list[str] = []
__all__ += adapter.__all__
__all__ += annotation.__all__
__all__ += base.__all__
__all__ += checking.__all__
__all__ += comparison.__all__
__all__ += dotted.__all__
__all__ += engine.__all__
__all__ += evaluation.__all__
__all__ += experiment.__all__
__all__ += grid.__all__
__all__ += loss.__all__
__all__ += model.__all__
__all__ += on_policy.__all__
__all__ += parts.__all__
__all__ += perturbation.__all__
__all__ += prompt.__all__
__all__ += selection.__all__
__all__ += signal.__all__
__all__ += task.__all__
__all__ += training.__all__
__all__ += validation.__all__
