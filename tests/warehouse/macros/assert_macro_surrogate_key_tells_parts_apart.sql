{#
    Different parts never share a key: neither where they join differently, nor where one is missing or empty, nor in
    another order. The same parts always do, also as another type. Two events under one key would be one event.
#}

with

cases (claim, first_part, second_part) as (

    values
    ('joined at b', 'a', 'bc'),
    ('joined at c', 'ab', 'c'),
    ('swapped', 'c', 'ab'),
    ('empty', 'abc', ''),
    ('missing', 'abc', null),
    ('missing first', null, 'abc'),
    ('both missing', null, null),
    ('comma', 'a,b', 'c'),
    ('space', 'a', ' bc'),
    ('upper case', 'A', 'bc')

),

keyed as (

    select
        claim,
        {{ surrogate_key(['first_part', 'second_part']) }} as actual
    from cases

),

shared_keys as (

    select
        actual,
        string_agg(claim, ', ' order by claim) as claims
    from keyed
    group by actual
    having count(*) > 1

)

select
    claims as claim,
    actual
from shared_keys
union all
select
    'a number is its text' as claim,
    {{ surrogate_key(['1', "'b'"]) }} as actual
where {{ surrogate_key(['1', "'b'"]) }} != {{ surrogate_key(["'1'", "'b'"]) }}
union all
select
    'one part is not two' as claim,
    {{ surrogate_key(["'a'"]) }} as actual
where {{ surrogate_key(["'a'"]) }} = {{ surrogate_key(["'a'", 'null']) }}
union all
select
    'a key is a UUID, and 32 hexadecimal digits as text' as claim,
    actual
from keyed
where typeof(actual) != 'UUID' or not regexp_full_match({{ key_text('actual') }}, '[0-9a-f]{32}')
