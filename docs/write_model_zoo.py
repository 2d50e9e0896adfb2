"""Write the tables of published weights in docs/model_zoo.md and in each project's README anew."""

from pathlib import Path

from d2video.model_zoo import ENTRIES
from d2video.model_zoo.tables import documents
from d2video.projects import register_all

if __name__ == "__main__":
    register_all()
    for path, text in documents(Path(__file__).parents[1], ENTRIES).items():
        path.write_text(text)
