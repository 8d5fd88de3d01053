{#
    rate_units is round_half_away(price x units), in exact arithmetic on the double's binary value. An order is off by a
    minor unit per line wherever this rounds otherwise. Worked out: 2.5 -> 3; 2.4 -> 2; 100 x 2.675 is below 267.5 -> 267;
    33.5 x (3.5 - 1) = 83.75 -> 84; 10^-12 x 5 x 10^11 = 0.5 -> 1; 5 units less 10 credits -> 0; 0.3 x 5 is below 1.5 -> 1.
#}

with

cases (claim, unit_amount, consumed, credited, expected) as (

    values
    ('half goes up', cast(2.5 as decimal(38, 12)), cast(1 as double), cast(0 as double), cast(3 as bigint)),
    ('less than half goes down', 2.4, 1, 0, 2),
    ('seven and a half is eight', 2.5, 3, 0, 8),
    ('a double below the half', 100, 2.675, 0, 267),
    ('a double above the half', 100, 1.995, 0, 200),
    ('an exact half in binary', 100, 0.125, 0, 13),
    ('fraction less credits', 33.5, 3.5, 1, 84),
    ('tiny price at the half', 0.000000000001, 500000000000, 0, 1),
    ('tiny price below the half', 0.000000000001, 499999999999, 0, 0),
    ('tiny price in full', 0.000000000001, 1000000000000, 0, 1),
    ('credits exceed usage', 100, 5, 10, 0),
    ('credits equal usage', 100, 5, 5, 0),
    ('no usage', 100, 0, 0, 0),
    ('negative usage', 100, -5, 0, 0),
    ('units below any half minor unit', 100, 1e-11, 0, 0),
    ('the double of three tenths', 5, 0.3, 0, 1),
    ('a sum of doubles above three tenths', 5, cast(0.1 as double) + cast(0.2 as double), 0, 2),
    ('many units', 0.1, 9007199254740993, 0, 900719925474099),
    ('the largest bill', 1, 999999999999999, 0, 999999999999999),
    ('more than any bill', 1, 1e15, 0, null),
    ('no price', null, 5, 0, null),
    ('no units', 100, null, 0, null),
    ('more than can be rated', 1, 1e30, 0, null)

),

rated as (

    select
        *,
        {{ rate_units('unit_amount', 'consumed', 'credited') }} as actual
    from cases

)

select * from rated
where actual is distinct from expected
