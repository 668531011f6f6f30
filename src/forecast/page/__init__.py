"""The live page: what it shows out of QuestDB and Redis, the event stream, and its static files."""
