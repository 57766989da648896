DROP TABLE tenant_projects;
DROP TYPE tenant_project_status;
