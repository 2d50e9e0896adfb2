"""One self-contained web page of charts, tables, pictures and clips."""

from d2video.report.page import Chart, Media, Section, Table, write_page

__all__ = ["Chart", "Media", "Section", "Table", "write_page"]
