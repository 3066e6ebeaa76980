-- 100,000 comments of 100 running processes, in all states. Statements end with a semicolon at the end of a line.
INSERT INTO mymoment_logins (id, user_id, name, base_url, username_encrypted, password_encrypted)
SELECT gen_random_uuid(), u.id, 'login ' || n, 'http://127.0.0.1:9', '', '' FROM users u, generate_series(1, 10) n;
INSERT INTO llm_provider_configurations (id, user_id, name, base_url, model_name, api_key_encrypted)
SELECT gen_random_uuid(), u.id, 'provider ' || n, 'http://127.0.0.1:9/v1', 'model', '' FROM users u, generate_series(1, 3) n;
INSERT INTO prompt_templates (id, user_id, name, system_prompt, user_prompt_template)
SELECT gen_random_uuid(), u.id, 'template ' || n, 'Be kind.', 'About {article_title}' FROM users u, generate_series(1, 5) n;
INSERT INTO monitoring_processes (id, user_id, name, status, started_at, expires_at, llm_provider_id)
SELECT gen_random_uuid(), u.id, 'process ' || n, 'running', now(), now() + interval '1 hour',
       (SELECT min(id::text)::uuid FROM llm_provider_configurations)
FROM users u, generate_series(1, :processes) n;
INSERT INTO monitoring_process_logins (monitoring_process_id, mymoment_login_id)
SELECT p.id, (SELECT min(id::text)::uuid FROM mymoment_logins) FROM monitoring_processes p;
INSERT INTO monitoring_process_templates (monitoring_process_id, prompt_template_id)
SELECT p.id, (SELECT min(id::text)::uuid FROM prompt_templates) FROM monitoring_processes p;
INSERT INTO monitoring_process_stages (monitoring_process_id, stage, last_started_at, last_success_at)
SELECT p.id, s, now() - interval '1 minute', now() - interval '1 minute'
FROM monitoring_processes p, unnest(ARRAY['discovery', 'preparation', 'generation', 'posting']) s;
INSERT INTO ai_comments (id, user_id, monitoring_process_id, mymoment_login_id, prompt_template_id, discovered_template_id,
    llm_provider_id, mymoment_article_id, article_title, article_author, article_url, article_content, status, comment_content,
    generated_at, posted_at, mymoment_comment_id, error_message, failed_at, failed_from, created_at)
SELECT gen_random_uuid(), p.user_id, p.id, l.id, t.id, t.id, p.llm_provider_id,
    (p.place * 10000 + n)::text, 'An article about number ' || n, 'somebody', 'http://127.0.0.1:9/article/' || n || '/',
    repeat('A short text that a child wrote. ', 30), s.status,
    CASE WHEN n % 20 >= 3 THEN '[Dieser Kommentar stammt von einem KI-ChatBot.] What a fine text number ' || n END,
    CASE WHEN n % 20 >= 3 THEN now() - n * interval '5 minutes' END,
    CASE WHEN s.status = 'posted' THEN now() - n * interval '4 minutes' END,
    CASE WHEN s.status = 'posted' THEN (p.place * 10000 + n)::text END,
    CASE WHEN s.status = 'failed' THEN 'The site took longer than ' || n || ' s to answer http://127.0.0.1/' || n END,
    CASE WHEN s.status = 'failed' THEN now() - n * interval '3 minutes' END,
    CASE WHEN s.status = 'failed' THEN 'prepared' END,
    now() - n * interval '6 minutes'
FROM (SELECT *, row_number() OVER () AS place FROM monitoring_processes) p,
    generate_series(1, :comments) n,
    LATERAL (SELECT CASE n % 20 WHEN 0 THEN 'discovered' WHEN 1 THEN 'prepared' WHEN 2 THEN 'failed'
        WHEN 3 THEN 'generated' WHEN 4 THEN 'generated' ELSE 'posted' END AS status) s,
    (SELECT min(id::text)::uuid AS id FROM mymoment_logins) l,
    (SELECT min(id::text)::uuid AS id FROM prompt_templates) t
