"""From results in a folder to tables on the screen, files and pages."""

from jtransfer._internal.files import json_line as json_line
from jtransfer._internal.moved import moved_attribute
from jtransfer.report.folder import Results as Results
from jtransfer.report.folder import draw_pages as draw_pages
from jtransfer.report.folder import read_results as read_results
from jtransfer.report.notebook import rank as rank
from jtransfer.report.pair import PAIR_FILE as PAIR_FILE
from jtransfer.report.pair import is_finite_pair as is_finite_pair
from jtransfer.report.pair import pair_tables as pair_tables
from jtransfer.report.pair import read_pair as read_pair
from jtransfer.report.pair import show_pair as show_pair
from jtransfer.report.pair import write_pair as write_pair
from jtransfer.report.ranking import ROWS_FILE as ROWS_FILE
from jtransfer.report.ranking import failure_lines as failure_lines
from jtransfer.report.ranking import missing_lines as missing_lines
from jtransfer.report.ranking import ranking_page as ranking_page
from jtransfer.report.ranking import read_ranking as read_ranking
from jtransfer.report.ranking import warning_lines as warning_lines
from jtransfer.report.ranking import write_ranking as write_ranking
from jtransfer.report.ranking_screen import agreement_table as agreement_table
from jtransfer.report.ranking_screen import ranking_table as ranking_table
from jtransfer.report.ranking_screen import show_ranking as show_ranking
from jtransfer.report.result import Ranking as Ranking
from jtransfer.report.selection import read_selection as read_selection
from jtransfer.report.selection import write_selection as write_selection
from jtransfer.report.tasks import TASKS_FILE as TASKS_FILE
from jtransfer.report.tasks import read_tasks as read_tasks
from jtransfer.report.tasks import show_tasks as show_tasks
from jtransfer.report.tasks import write_tasks as write_tasks


def __getattr__(name: str):
    return moved_attribute(__name__, name)
