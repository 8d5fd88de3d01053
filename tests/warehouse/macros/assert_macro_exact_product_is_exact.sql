{#
    units x unit price to twelve decimals. Through doubles 0.1 x 3 is 0.30000000000000004; where the exact product does not
    fit, the nearest double is better than no amount.
#}

with

cases (claim, units, unit_amount, expected) as (

    values
    ('three tenths', cast(3 as decimal(38, 12)), cast(0.1 as decimal(38, 12)), cast(0.3 as decimal(38, 12))),
    ('twelve decimals', 7, 0.000000000001, 0.000000000007),
    ('large', 1000000000000, 0.000000000001, 1),
    ('does not fit in 24 decimals', 1000000000000, 1000, 1000000000000000),
    ('nor does its fraction', 1000000000000.5, 1000.1, 1000100000000500.05),
    ('negative', -2, 1.5, -3),
    ('null', null, 1.5, null)

),

multiplied as (

    select
        *,
        {{ exact_product('units', 'unit_amount') }} as actual
    from cases

)

select * from multiplied
where actual is distinct from expected
