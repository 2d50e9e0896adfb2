"""The assignment problem, in numpy: where scipy is not at hand, such as beside an exported model."""

import numpy as np


def assign(cost: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of rows and columns with the least sum of costs, as many as the smaller side has.

    Shortest augmenting paths (Jonker and Volgenant, 1987; Crouse, 2016), in float64: n²·m steps for n
    rows and m columns, n ≤ m.

    Args:
        cost: (n, m), finite.

    Returns:
        the rows, ascending, and their columns, both (min(n, m),) int64, as
        ``scipy.optimize.linear_sum_assignment`` does. Of several best ones it may find another.
    """
    cost = np.asarray(cost, np.float64)
    assert np.isfinite(cost).all(), "costs must be finite"
    if cost.shape[0] > cost.shape[1]:
        columns, rows = assign(cost.T)
        order = rows.argsort()
        return rows[order], columns[order]
    num_rows, num_columns = cost.shape
    row_price, column_price = np.zeros(num_rows), np.zeros(num_columns)
    row_of = np.full(num_columns, -1)
    column_of = np.full(num_rows, -1)
    for start in range(num_rows):
        # Dijkstra's algorithm over the columns, from the new row to the nearest free one.
        distance = np.full(num_columns, np.inf)
        before = np.full(num_columns, -1)  # the row from which a column is reached
        open_ = np.ones(num_columns, dtype=bool)
        row, so_far = start, 0.0
        path = [start]
        while True:
            through = so_far + cost[row] - row_price[row] - column_price
            nearer = open_ & (through < distance)
            distance[nearer], before[nearer] = through[nearer], row
            column = int(np.where(open_, distance, np.inf).argmin())
            so_far = distance[column]
            open_[column] = False
            row = int(row_of[column])
            if row < 0:
                break
            path.append(row)
        row_price[start] += so_far
        others = path[1:]
        row_price[others] += so_far - distance[column_of[others]]
        column_price[~open_] -= so_far - distance[~open_]
        while True:  # along the path, each row takes the next column
            row = int(before[column])
            row_of[column] = row
            column_of[row], column = column, int(column_of[row])
            if row == start:
                break
    return np.arange(num_rows), column_of
