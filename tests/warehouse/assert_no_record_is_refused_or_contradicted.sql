{#
    No record is left in quarantine, and none contradicts what landed before it under the same key. Usage that was refused
    is not counted, and of two contents only the first is. A finding about the data.
#}

{{ config(severity='warn') }}

select
    'quarantined' as finding,
    load_id,
    file_name,
    record_number,
    reason_code as detail
from {{ ref('quarantined_records') }}
where status = 'open'
union all
select
    'conflict' as finding,
    conflicts.later_load_id as load_id,
    loads.file_name,
    conflicts.record_number,
    conflicts.key as detail
from {{ ref('conflicting_records') }} as conflicts
left join {{ ref('loads') }} as loads
    on
        conflicts.later_load_id = loads.load_id
        and conflicts.file_number = loads.file_number
