{{ config(materialized='table') }}

{% set refund -%}
{
    "id": "VARCHAR", "order_id": "VARCHAR", "status": "VARCHAR", "amount": "DECIMAL(38,12)", "tax_amount": "DECIMAL(38,12)",
    "currency": "VARCHAR", "created_at": "VARCHAR", "modified_at": "VARCHAR"
}
{%- endset %}

with

resources as (

    select * from {{ source('raw', 'resources') }}

),

parsed_refunds as (

    select
        resources.* exclude (payload, modified_at),
        from_json(payload, '{{ refund | replace("\n", " ") }}') as refund
    from resources
    where kind = 'refunds'

),

typed_refunds as (

    select
        organization_id,
        {{ polar_id('refund.id') }} as refund_id,
        {{ polar_id('refund.order_id') }} as order_id,
        refund.status as status,
        {{ whole_number('refund.amount', least=0) }} as amount,
        {{ whole_number('refund.tax_amount', least=0) }} as tax_amount,
        lower(refund.currency) as currency,
        {{ utc('refund.created_at') }} as created_at,
        {{ utc('refund.modified_at') }} as modified_at,
        content_hash,
        webhook_at,
        load_id,
        file_number,
        record_number
    from parsed_refunds
    where refund.id is not null

)

select * from typed_refunds
{{ latest_version('organization_id, refund_id') }}
