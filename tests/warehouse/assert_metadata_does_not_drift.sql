{{ config(severity=var('metadata_drift_severity')) }}

{# A property that is new, gone or of several types is often a sender's mistake, and a meter on it counts nothing. #}

select
    organization_id,
    event_name,
    property_path,
    value_types,
    is_new,
    is_vanished
from {{ ref('metadata_properties') }}
where is_new or is_vanished or has_type_conflict
