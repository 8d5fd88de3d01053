{% set rows_read = "source = 'user'" %}
{{ config(materialized='incremental', meta={'rows_read': {'events': rows_read}}) }}

{# The numbers are exact only when the whole text is read in one step: any other JSON function goes through double. #}
{% set structure -%}
{
    "id": "VARCHAR", "external_id": "VARCHAR", "name": "VARCHAR", "timestamp": "VARCHAR", "ingested_at": "VARCHAR",
    "customer_id": "VARCHAR", "external_customer_id": "VARCHAR",
    "member_id": "VARCHAR", "external_member_id": "VARCHAR", "parent_id": "VARCHAR",
    "metadata": {
        "_cost": {"amount": "DECIMAL(38,12)", "currency": "VARCHAR"},
        "_llm": {
            "vendor": "VARCHAR", "model": "VARCHAR", "input_tokens": "DECIMAL(38,12)",
            "cached_input_tokens": "DECIMAL(38,12)", "output_tokens": "DECIMAL(38,12)", "total_tokens": "DECIMAL(38,12)"
        }
    }
}
{%- endset %}

with

raw_events as (

    select * from {{ source('raw', 'events') }}

),

parsed_events as (

    select
        load_id,
        file_number,
        record_number,
        organization_id,
        record_key,
        shape,
        landed_at,
        payload,
        from_json(payload, '{{ structure | replace("\n", " ") }}') as event
    from raw_events
    where {{ rows_read }} {{ only_new_loads() }}

),

typed_events as (

    select
        record_key as usage_event_key,
        organization_id,
        {{ canonical_uuid(polar_id('event.id')) }} as event_uuid,
        case when event_uuid is null then {{ polar_id('event.id') }} end as other_event_id,
        event.external_id as external_id,
        shape,
        event.name as event_name,
        {{ polar_id('event.customer_id') }} as customer_id,
        event.external_customer_id as external_customer_id,
        {{ polar_id('event.member_id') }} as member_id,
        event.external_member_id as external_member_id,
        event.parent_id as parent_reference,
        {#
            Polar's costs have at most five integer digits. What is beyond any cost would overflow the sums of all
            others; it stays whole in the payload. A cost is in US cents whatever an old event leaves out.
        #}
        case when abs(event.metadata._cost.amount) < 1e15 then event.metadata._cost.amount end as cost_amount,
        case
            when abs(event.metadata._cost.amount) < 1e15 then coalesce(lower(event.metadata._cost.currency), 'usd')
        end as cost_currency,
        event.metadata._llm.vendor as llm_vendor,
        event.metadata._llm.model as llm_model,
        {{ whole_number('event.metadata._llm.input_tokens') }} as llm_input_tokens,
        {{ whole_number('event.metadata._llm.cached_input_tokens') }} as llm_cached_input_tokens,
        {{ whole_number('event.metadata._llm.output_tokens') }} as llm_output_tokens,
        {{ whole_number('event.metadata._llm.total_tokens') }} as llm_total_tokens,
        coalesce(cast(json_extract(payload, '$.metadata') as varchar), '{}') as metadata,
        {# Keys and types without values. Events come from programs: there are few structures, however many the events. #}
        cast(json_structure(json_extract(payload, '$.metadata')) as varchar) as metadata_structure,
        {#
            A double keeps 15 significant digits. Longer numbers and exponents are rare and are read as they were written.
            They are looked for from the first "metadata" on, which is the event's key or stands before it; only where a
            key may be written with escapes, in the whole payload.
        #}
        {%- set long_number = '[0-9][0-9.]{15,}|[.][0-9]{13,}|[:,\\[\\s]-?[0-9][0-9.]*[eE]' %}
        case
            when
                regexp_matches(payload, '(?s)"metadata".*(?:{{ long_number }})')
                or (contains(payload, '\u') and regexp_matches(payload, '{{ long_number }}'))
                then exact_metadata_numbers(payload)
        end as exact_numbers,
        {{ utc('event.timestamp') }} as sent_at,
        {{ utc('event.ingested_at') }} as ingested_at,
        landed_at,
        load_id,
        file_number,
        record_number
    from parsed_events

)

select * from typed_events
