{#
    A property path walks objects by its dots and takes every other character as it is. A wildcard, slash, quote or digit
    read as syntax would sum another property, or one element of a list that Polar does not enter.
#}

with

cases (path, document, expected) as (

    values
    ('units', '{"units": 1}', '1'),
    ('a.b', '{"a": {"b": 2}, "a.b": 9}', '2'),
    ('a/b', '{"a/b": 3, "a": {"b": 9}}', '3'),
    ('a~b', '{"a~b": 4}', '4'),
    ('a~1b', '{"a~1b": 5, "a/b": 9}', '5'),
    ('*', '{"*": 6, "a": 9}', '6'),
    ('a[0]', '{"a[0]": 7, "a": [9]}', '7'),
    ('$', '{"$": 8}', '8'),
    ('a b', '{"a b": 1}', '1'),
    ('a"b', '{"a\"b": 2}', '2'),
    ('0', '{"0": 3}', '3'),
    ('a.0', '{"a": [9]}', null),
    ('a.0', '{"a": {"0": 4}}', '4'),
    ('*.0', '{"*": {"0": 5}, "a": {"0": 9}}', '5'),
    ('a"b.0', '{"a\"b": {"0": 6}}', '6'),
    ('a\b.0', '{"a\\b": {"0": 7}}', '7'),
    ('missing', '{"units": 1}', null),
    ('a.b', '{"a": 1}', null)

),

located as (

    select
        *,
        cast(json_extract(document, {{ json_location('path') }}) as varchar) as actual
    from cases

)

select * from located
where actual is distinct from expected
