{#
    Every input record ends in exactly one of landed, duplicate, conflict and quarantined, and what the ledger counts as
    landed, conflicting or quarantined is there. Otherwise records are lost or counted twice and no total can be believed.
    A contradiction that comes again is counted again and stored once, so fewer conflicts may be stored than counted.
    Records are only ever added: each load is counted once, when it is new, and from then on all of them together.
#}
{% set last_tested_load = last_tested_load() %}

with

loads as (

    select * from {{ source('raw', 'loads') }}
    where load_id > {{ last_tested_load }}

),

stored_records as (

    select
        load_id,
        file_number,
        count(*) filter (where stored_as = 'landed') as stored_landed,
        count(*) filter (where stored_as = 'conflict') as stored_conflict,
        count(*) filter (where stored_as = 'quarantined') as stored_quarantined
    from (
        select load_id, file_number, 'landed' as stored_as from {{ source('raw', 'events') }}
        union all
        select load_id, file_number, 'landed' as stored_as from {{ source('raw', 'resources') }}
        union all
        select load_id, file_number, 'conflict' as stored_as from {{ source('raw', 'conflicts') }}
        union all
        select load_id, file_number, 'quarantined' as stored_as from {{ source('raw', 'quarantine') }}
    )
    where load_id > {{ last_tested_load }}
    group by load_id, file_number

),

totals as (

    select
        (select sum(landed) from {{ source('raw', 'loads') }}) as landed,
        (
            select count(*) from {{ source('raw', 'events') }}
        ) + (
            select count(*) from {{ source('raw', 'resources') }}
        ) as stored_landed,
        (select sum(quarantined) from {{ source('raw', 'loads') }}) as quarantined,
        (select count(*) from {{ source('raw', 'quarantine') }}) as stored_quarantined

)

select
    coalesce(loads.load_id, stored_records.load_id) as load_id,
    coalesce(loads.file_number, stored_records.file_number) as file_number,
    loads.file_name,
    loads.records,
    loads.landed,
    loads.duplicate,
    loads.conflict,
    loads.quarantined,
    stored_records.stored_landed,
    stored_records.stored_conflict,
    stored_records.stored_quarantined
from loads
full outer join stored_records
    on
        loads.load_id = stored_records.load_id
        and loads.file_number = stored_records.file_number
where
    loads.records is distinct from loads.landed + loads.duplicate + loads.conflict + loads.quarantined
    or loads.landed is distinct from coalesce(stored_records.stored_landed, 0)
    or not coalesce(loads.conflict >= coalesce(stored_records.stored_conflict, 0), false)
    or loads.quarantined is distinct from coalesce(stored_records.stored_quarantined, 0)
union all
select
    null as load_id,
    null as file_number,
    'all loads' as file_name,
    null as records,
    landed,
    null as duplicate,
    null as conflict,
    quarantined,
    stored_landed,
    null as stored_conflict,
    stored_quarantined
from totals
where coalesce(landed, 0) != stored_landed or coalesce(quarantined, 0) != stored_quarantined
