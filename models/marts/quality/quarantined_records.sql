{# A new load changes a file's name of no record that was refused before. #}
{{ config(meta={'rows_read': {'loads': 'quarantined > 0'}}) }}

with

quarantine as (

    select * from {{ source('raw', 'quarantine') }}

),

files as (

    select * from {{ source('raw', 'loads') }}

)

select
    quarantine.load_id,
    quarantine.file_number,
    files.file_name,
    quarantine.record_number,
    quarantine.byte_offset,
    quarantine.reason_code,
    quarantine.field,
    quarantine.message,
    quarantine.status
from quarantine
left join files
    on
        quarantine.load_id = files.load_id
        and quarantine.file_number = files.file_number
