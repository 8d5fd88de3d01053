{#
    Amounts in minor units are whole. 10.0 is 10; 10.5 is null, because rounding it would invent money; what is beyond any
    money is null and does not stop the build, nor do some of it together.
#}

with

cases (claim, number, expected) as (

    values
    ('whole', cast(10 as decimal(38, 12)), cast(10 as bigint)),
    ('zero fraction', 10.000000000000, 10),
    ('half', 10.5, null),
    ('smallest fraction', 10.000000000001, null),
    ('negative', -50, -50),
    ('negative fraction', -0.5, null),
    ('zero', 0, 0),
    ('largest', 999999999999999, 999999999999999),
    ('too large', 1000000000000000, null),
    ('smallest', -999999999999999, -999999999999999),
    ('too small', -1000000000000000, null),
    ('beyond an integer', 9223372036854775808, null),
    ('null', null, null)

),

converted as (

    select
        *,
        {{ whole_number('number') }} as actual
    from cases

)

select * from converted
where actual is distinct from expected
