{#
    A boundary is counted from the anchor: 31 January, 28 February, 31 March. A leap day comes back in the next leap year.
    Days and weeks are plain addition, the time of day stays. Where the day is lost, every later period is off.
#}

with

cases (claim, started_at, interval_name, interval_count, steps, expected) as (

    values
    ('none', timestamp '2026-01-31 08:30', 'month', 1, 0, timestamp '2026-01-31 08:30'),
    ('short month', timestamp '2026-01-31 08:30', 'month', 1, 1, timestamp '2026-02-28 08:30'),
    ('back to the 31st', timestamp '2026-01-31 08:30', 'month', 1, 2, timestamp '2026-03-31 08:30'),
    ('leap February', timestamp '2024-01-31', 'month', 1, 1, timestamp '2024-02-29'),
    ('quarter', timestamp '2025-11-30', 'month', 3, 1, timestamp '2026-02-28'),
    ('leap day, next year', timestamp '2024-02-29', 'year', 1, 1, timestamp '2025-02-28'),
    ('leap day, four years on', timestamp '2024-02-29', 'year', 1, 4, timestamp '2028-02-29'),
    ('two years', timestamp '2024-02-29', 'year', 2, 1, timestamp '2026-02-28'),
    ('week over a year', timestamp '2024-12-30 08:00', 'week', 1, 1, timestamp '2025-01-06 08:00'),
    ('fortnights', timestamp '2026-02-19 23:59', 'week', 2, 2, timestamp '2026-03-19 23:59'),
    ('days over February', timestamp '2026-02-01', 'day', 30, 1, timestamp '2026-03-03')

),

added as (

    select
        *,
        {{ add_intervals('started_at', 'interval_name', 'interval_count', 'steps') }} as actual
    from cases

)

select * from added
where actual is distinct from expected
