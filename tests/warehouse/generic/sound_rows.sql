{#
    Every rule that a model's rows keep by themselves or towards another model, in one statement: a test of its own for
    each rule and column costs more in dbt than in the database. A row returned names the rule that is broken, the columns
    that break it, and the row by its key (else by its grain, else as it is).
    Of a table that grows with events the changed rows are enough: no kept row has what names a changed one, so a grain
    that is kept among them is kept by all. A model that takes a key away names as changed what referred to it.
#}
{% test sound_rows(
    model, key=none, unique=[], never_null=[], never_null_where={}, never_negative=[], accepted_values={}, references=[]
) %}

{% set row_name = sound_rows_name(key, unique) %}
{% set tested_rows = rows_to_test(model) %}

{# All that needs only the row itself, in one scan. #}
{% set problems = [] %}
{% for column in ([key] if key else []) + never_null %}
    {% do problems.append(('never_null', column, column ~ ' is null')) %}
{% endfor %}
{% for condition, columns in never_null_where.items() %}
    {% for column in columns %}
        {% do problems.append(('never_null_where', column, '(' ~ condition ~ ') and ' ~ column ~ ' is null')) %}
    {% endfor %}
{% endfor %}
{% for column in never_negative %}
    {% do problems.append(('never_negative', column, column ~ ' < 0')) %}
{% endfor %}
{% for column, values in accepted_values.items() %}
    {% do problems.append(('accepted_values', column, column ~ " not in ('" ~ values | join("', '") ~ "')")) %}
{% endfor %}

{% set parts = [] %}
{% if problems %}
    {% set part %}
select
    problem.rule,
    problem.columns,
    row_name
from (
    select
        unnest([
            {%- for rule, columns, condition in problems %}
            case when {{ condition }} then {'rule': '{{ rule }}', 'columns': '{{ columns }}'} end{{ ',' if not loop.last }}
            {%- endfor %}
        ]) as problem,
        {{ row_name }} as row_name
    from {{ tested_rows }} as tested
    where
        {%- for rule, columns, condition in problems %}
        ({{ condition }}){{ ' or' if not loop.last }}
        {%- endfor %}
)
where problem is not null
    {%- endset %}
    {% do parts.append(part) %}
{% endif %}

{# Two nulls agree: a grain is kept by them too. #}
{% for columns in ([[key]] if key else []) + unique %}
    {% set part %}
select
    'unique' as rule,
    '{{ columns | join(", ") }}' as columns,
    {{ sound_rows_name(none, [columns]) }} as row_name
from {{ tested_rows }} as tested
group by {{ columns | join(', ') }}
having count(*) > 1
    {%- endset %}
    {% do parts.append(part) %}
{% endfor %}

{# The key exists there with the same organization: nothing is attributed across organizations. Nulls pass. #}
{% for reference in references %}
    {% set field = reference.field or reference.column %}
    {% set part %}
select
    'references' as rule,
    '{{ reference.column }}' as columns,
    {{ row_name }} as row_name
from (
    select * from {{ tested_rows }}
    where
        {{ reference.column }} is not null
        {%- if reference.where %}
        and ({{ reference.where }})
        {%- endif %}
) as tested
{#- What is among the changed rows need not be looked for in all, and mostly that is everything. #}
{%- for referred in [rows_to_test(reference.to), reference.to | string] | map('trim') | unique %}
anti join {{ referred }} as referred_{{ loop.index }}
    on
        tested.{{ reference.column }} = referred_{{ loop.index }}.{{ field }}
        and tested.organization_id = referred_{{ loop.index }}.organization_id
{%- endfor %}
    {%- endset %}
    {% do parts.append(part) %}
{% endfor %}

{{ parts | join('\nunion all\n') }}

{% endtest %}
