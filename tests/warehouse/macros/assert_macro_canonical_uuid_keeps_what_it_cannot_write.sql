{#
    Only what is written again exactly as it was becomes a UUID. A cast also reads capitals, braces and digits without
    hyphens: two different ids would be one, and none of them the id that was sent.
#}

with

cases (claim, id, expected) as (

    values
    ('as Polar writes it', '0f8fad5b-d9cb-469f-a165-70867728950e', cast('0f8fad5b-d9cb-469f-a165-70867728950e' as uuid)),
    ('nil', '00000000-0000-0000-0000-000000000000', cast('00000000-0000-0000-0000-000000000000' as uuid)),
    ('largest', 'ffffffff-ffff-ffff-ffff-ffffffffffff', cast('ffffffff-ffff-ffff-ffff-ffffffffffff' as uuid)),
    ('capitals', '0F8FAD5B-D9CB-469F-A165-70867728950E', null),
    ('braces', '{0f8fad5b-d9cb-469f-a165-70867728950e}', null),
    ('no hyphens', '0f8fad5bd9cb469fa16570867728950e', null),
    ('a space', ' 0f8fad5b-d9cb-469f-a165-70867728950e', null),
    ('too long', '0f8fad5b-d9cb-469f-a165-70867728950e0', null),
    ('no digit', '0f8fad5g-d9cb-469f-a165-70867728950e', null),
    ('a name', 'evt_1', null),
    ('empty', '', null),
    ('null', null, null)

),

converted as (

    select
        *,
        {{ canonical_uuid('id') }} as actual
    from cases

)

select * from converted
where actual is distinct from expected
