{#
    An interval is whole at its boundary and not a microsecond before; with add_intervals it finds the period that contains
    an instant. One too many opens a period that has not begun, one too few leaves the running one out.
#}

with

cases (claim, started_at, interval_name, interval_count, instant, expected) as (

    values
    ('no days at all', timestamp '2026-01-31', 'day', 0, timestamp '2026-02-28', null),
    ('no months at all', timestamp '2026-01-31', 'month', 0, timestamp '2026-02-28', null),
    ('at the start', timestamp '2026-01-31', 'month', 1, timestamp '2026-01-31', 0),
    ('just before a short month ends', timestamp '2026-01-31', 'month', 1, timestamp '2026-02-27 23:59:59.999999', 0),
    ('at the end of a short month', timestamp '2026-01-31', 'month', 1, timestamp '2026-02-28', 1),
    ('30 March is not yet two', timestamp '2026-01-31', 'month', 1, timestamp '2026-03-30', 1),
    ('31 March is two', timestamp '2026-01-31', 'month', 1, timestamp '2026-03-31', 2),
    ('time of day counts', timestamp '2026-01-15 12:00', 'month', 1, timestamp '2026-02-15 11:59:59', 0),
    ('a quarter less a day', timestamp '2026-01-01', 'month', 3, timestamp '2026-03-31', 0),
    ('a quarter', timestamp '2026-01-01', 'month', 3, timestamp '2026-04-01', 1),
    ('leap day to 28 February', timestamp '2024-02-29', 'year', 1, timestamp '2025-02-28', 1),
    ('leap day to 27 February', timestamp '2024-02-29', 'year', 1, timestamp '2025-02-27', 0),
    ('28 February is no leap day', timestamp '2024-02-29', 'year', 1, timestamp '2028-02-28', 3),
    ('leap day to leap day', timestamp '2024-02-29', 'year', 1, timestamp '2028-02-29', 4),
    ('two-year plan', timestamp '2024-03-01', 'year', 2, timestamp '2027-03-01', 1),
    ('seven days less a microsecond', timestamp '2026-01-05', 'week', 1, timestamp '2026-01-11 23:59:59.999999', 0),
    ('a week', timestamp '2026-01-05', 'week', 1, timestamp '2026-01-12', 1),
    ('thirty days', timestamp '2026-02-01', 'day', 30, timestamp '2026-03-03', 1),
    ('thirty days less a second', timestamp '2026-02-01', 'day', 30, timestamp '2026-03-02 23:59:59', 0)

),

counted as (

    select
        *,
        {{ whole_intervals('started_at', 'interval_name', 'interval_count', 'instant') }} as actual
    from cases

)

select * from counted
where actual is distinct from expected
