"""What the ledger writes: rows, and sums that rows are added to."""

ADD_EPISODE = "INSERT INTO episode VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
ADD_CLASS = """
    INSERT INTO class_total VALUES (?1, ?2, ?3, ?4, 1, ?5, ?4 * ?4) ON CONFLICT DO UPDATE SET
    queries = queries + excluded.queries, correct = correct + excluded.correct,
    draws = draws + 1, hard = hard + excluded.hard, squares = squares + excluded.squares"""
ADD_CLASS_ROUND = """
    INSERT INTO class_round VALUES (?1, ?2, ?3, ?4, ?5, 1, ?6, ?5 * ?5) ON CONFLICT DO UPDATE SET
    queries = queries + excluded.queries, correct = correct + excluded.correct,
    draws = draws + 1, hard = hard + excluded.hard, squares = squares + excluded.squares"""
ADD_PAIR = """
    INSERT INTO pair_total VALUES (?, ?, ?, ?, ?, 1) ON CONFLICT DO UPDATE SET
    low_high = low_high + excluded.low_high, high_low = high_low + excluded.high_low, n = n + 1"""
ADD_TASK = """
    INSERT INTO task_total VALUES (?, ?, ?, ?, ?, ?, 1, ?, NULL, NULL) ON CONFLICT DO UPDATE SET
    last = excluded.last, total = total + excluded.total, seen = seen + 1, hard = hard + excluded.hard"""
ADD_SPAN = """
    INSERT INTO round_span VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET last = excluded.last"""
ADD_ROUND = "INSERT INTO round VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
