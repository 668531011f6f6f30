"""The engine's configuration for this lake."""

from features.spec import EngineConfig
from lakehouse.settings import Settings
from lakehouse.stores import bronze
from lakehouse.stores.questdb import QuestDB


def engine_config(settings: Settings, questdb: QuestDB) -> EngineConfig:
    """The engine's configuration, with the symbols whose ids are known not to be dense."""
    return EngineConfig.of(settings, bronze.sparse_symbols(questdb))
