{# Members as Polar's member webhooks name them. #}

with

resources as (

    select * from {{ source('raw', 'resources') }}

),

members as (

    select
        organization_id,
        {{ polar_id("from_json(payload, '{\"id\": \"VARCHAR\"}').id") }} as member_id,
        from_json(payload, '{"external_id": "VARCHAR"}').external_id as external_member_id,
        {{ polar_id("from_json(payload, '{\"customer_id\": \"VARCHAR\"}').customer_id") }} as customer_id
    from resources
    where kind = 'webhooks' and webhook_type like 'member.%'

)

select distinct * from members
where member_id is not null and customer_id is not null
