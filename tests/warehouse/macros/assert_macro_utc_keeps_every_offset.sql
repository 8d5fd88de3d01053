{#
    An offset is applied, never dropped: 01:30 at +02:00 on 1 February is 31 January in UTC, another billing month. Text
    without an offset is UTC already, and what is no timestamp is null.
#}

with

cases (claim, instant, expected) as (

    values
    ('Z', '2026-02-01T01:30:00Z', timestamp '2026-02-01 01:30'),
    ('east', '2026-02-01T01:30:00+02:00', timestamp '2026-01-31 23:30'),
    ('west', '2026-01-31T23:30:00-05:30', timestamp '2026-02-01 05:00'),
    ('microseconds', '2026-02-01T01:30:00.123456+00:00', timestamp '2026-02-01 01:30:00.123456'),
    ('no offset', '2026-02-01 01:30:00', timestamp '2026-02-01 01:30'),
    ('a date', '2026-02-01', timestamp '2026-02-01'),
    ('no timestamp', 'soon', null),
    ('empty', '', null),
    ('null', null, null)

),

converted as (

    select
        *,
        {{ utc('instant') }} as actual
    from cases

)

select * from converted
where actual is distinct from expected
