{#
    The next instant at which as_of alone would change a table: a period closes and another begins, or an order that was
    awaited is missing. Until then a build of the same records gives the same tables.
#}
{% set grace = "to_days(" ~ (var('order_grace_days') | int) ~ ")" %}

with

builds as (

    select * from {{ ref('stg_polar__builds') }}

),

periods as (

    select * from {{ ref('int_subscription_periods') }}

),

expectations as (

    select * from {{ ref('int_order_expectations') }}

),

boundaries as (

    select period_end_at as boundary_at from periods
    union all
    select due_at + {{ grace }} as boundary_at from expectations

)

select
    builds.as_of,
    min(boundaries.boundary_at) as next_boundary_at
from builds
left join boundaries on builds.as_of < boundaries.boundary_at
group by builds.as_of
