{#
    The key exists in `to`, and there it has the same organization: nothing is attributed across organizations. Nulls pass.
    Says what `relationships` says and one thing more, in one query.
#}
{% test refers_within_organization(model, column_name, to, field) %}

with

children as (

    select * from {{ model }}

),

parents as (

    select * from {{ to }}

)

select
    children.{{ column_name }},
    children.organization_id,
    parents.organization_id as organization_of_parent,
    count(*) as row_count
from children
left join parents on children.{{ column_name }} = parents.{{ field }}
where
    children.{{ column_name }} is not null
    and parents.organization_id is distinct from children.organization_id
group by all

{% endtest %}
